# docker build -t hookwire .
# docker run -p 7431:7431 -v CHECKPOINT:/checkpoint:ro hookwire
FROM debian:12
WORKDIR /hookwire
COPY . .
RUN ./run daemon
EXPOSE 7431
ENTRYPOINT ["build/release/bin/hookwired", "--listen", "0.0.0.0:7431"]
CMD ["--model", "/checkpoint"]
