"""Getting data: download that resumes, safe unpacking, and whole data sets renamed into place."""
