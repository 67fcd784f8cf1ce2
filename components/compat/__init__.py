"""What has to change a library from outside, and until which release."""
