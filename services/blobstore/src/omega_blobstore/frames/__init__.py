"""Frames over their Parquet parts: footers and statistics, filters, scans. pyarrow loads when a frame is touched."""
