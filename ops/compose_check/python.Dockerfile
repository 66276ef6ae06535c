# Debian's Python under the paths of the official image (debian-engine.sh).
ARG FROM
FROM $FROM
ARG PYTHON
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
COPY pip.conf /etc/pip.conf
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
RUN ln -s /usr/bin/$PYTHON /usr/local/bin/python && ln -s /usr/bin/$PYTHON /usr/local/bin/python3 && ln -s /usr/bin/pip3 /usr/local/bin/pip
CMD ["python3"]
