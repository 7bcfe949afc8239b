"""Sessions that record no training: passed over, trained again to compare, or merged."""
