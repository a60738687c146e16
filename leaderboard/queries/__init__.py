"""Reading: what pages, API and exports show, from one place."""
