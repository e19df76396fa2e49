"""What a model call is shown: worked out from the document and the turn's steps, so that it can be again."""
