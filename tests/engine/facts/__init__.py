"""Each fact of KAFKA-FACTS, end to end: commands go into a lab, its view and its history come out."""
