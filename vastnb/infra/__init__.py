"""What any client needs: settings, HTTP, cache. Knows nothing of offers or instances."""
