"""W's columns -> the table `dimensions`."""
