"""What strangers may send: images, wheels and Debian packages that were made to do harm. Refused, or done right."""
