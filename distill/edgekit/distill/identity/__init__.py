"""The identity code: one small tensor for a person, from any number of photos in any order."""
