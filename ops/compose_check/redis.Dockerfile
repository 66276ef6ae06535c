# Debian's Redis with the paths, user and small tools of the official Alpine image (debian-engine.sh).
ARG FROM
FROM $FROM
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
RUN groupadd -g 1000 redis1000 && usermod -u 999 -g 1000 redis && mkdir -p /data && chown 999:1000 /data
RUN for tool in sh awk sed grep cat dirname; do ln -sf /bin/busybox /usr/local/bin/$tool; done && ln -sf /bin/busybox /bin/sh
COPY --chmod=755 redis-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
# The folder is there only where other binaries were given.
COPY --chmod=755 bi[n]/* /usr/local/bin/
VOLUME /data
WORKDIR /data
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
