"""The cloud that keeps books and runs nothing: for tests, benchmarks and a first look."""

from control_plane.clouds.noop.drivers import Books, cloud, open_books, open_cloud

__all__ = ["Books", "cloud", "open_books", "open_cloud"]
