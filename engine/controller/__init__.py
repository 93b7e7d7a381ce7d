"""The controller: ``node`` receives, ``state`` decides, the quorum commits, and only then anybody hears of it."""
