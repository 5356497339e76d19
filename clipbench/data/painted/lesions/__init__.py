"""Lesions: polyps in endoscopy and tumours in ultrasound, with masks and descriptions."""
