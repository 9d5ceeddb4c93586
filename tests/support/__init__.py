"""What tests share: builders of values, doubles of what is outside, strategies, waiting for conditions. No tests, no fixtures."""
