"""Where batches come from: decoded images, random crops, or features of a frozen model."""
