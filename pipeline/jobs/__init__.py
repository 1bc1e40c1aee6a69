"""What is asked: jobs, job files and the inputs they name."""
