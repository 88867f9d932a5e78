"""The labeler: datasets of pictures, their captions, and the sealed revisions that training uses."""
