-- From here on every page ends with a checksum (see connect.py, which writes all pages anew just before this).
SELECT 1;
