# The leaderboard's web server and worker; see compose.yaml.
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libgomp1 libsndfile1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/ssl-bench
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY benchmark benchmark
COPY tasks tasks
COPY baselines baselines
COPY leaderboard leaderboard
COPY data_cards data_cards
RUN python -m pip install --no-cache-dir -c constraints.txt '.[leaderboard]'
RUN useradd --create-home --uid 10001 site \
    && mkdir -p /site /cache /data \
    && chown site /site /cache
USER site
EXPOSE 8000
CMD ["ssl-bench", "serve", "--host", "0.0.0.0"]
