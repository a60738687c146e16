"""Result files on the site: checked, published with their history, given back as they came."""
