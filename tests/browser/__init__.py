"""What a visitor sees, in a real Chromium against a real server."""
