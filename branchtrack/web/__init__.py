"""The web server: pages, data API and event streams over the database and the store."""
