"""What finished runs leave on disk: records, the folder that holds them, and what a record's numbers mean."""
