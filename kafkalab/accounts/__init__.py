"""Who is asking: today a browser that holds a signed cookie, later also a person who claims what it made."""
