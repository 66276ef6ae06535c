"""The main job, shown: 200 real jobs through the real service, against a provider that misbehaves."""
