"""The pages of the site that are derived from the code, each when the site is built."""
