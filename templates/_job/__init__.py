"""What the templates share: a rendered script carries the body of each module that it imports."""
