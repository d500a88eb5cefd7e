"""What connects lakehouse to AWS beyond its storage: news of objects in buckets."""
