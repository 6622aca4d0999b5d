"""All the SQL there is: the inbox, the states, the views, the migrations."""
