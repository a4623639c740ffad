/* Writes down every attempt of a process to reach somebody. Loaded by LD_PRELOAD, so it sees what
   the executable and every library it loads ask for: connections, names looked up, and datagrams
   sent to an address. Names other than loopback's are not found, so that a failing test tells
   nobody anything. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void note(const char *what, const char *whom) {
  const char *path = getenv("CONNECTIONS_LOG");
  if (!path) return;
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  char line[512];
  int length = snprintf(line, sizeof line, "%s %s\n", what, whom);
  if (length > 0) {
    ssize_t written = write(file, line, (size_t)length);
    (void)written;
  }
  close(file);
}

static void note_address(const char *what, const struct sockaddr *address) {
  char host[INET6_ADDRSTRLEN] = "", text[320];
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(text, sizeof text, "%s:%d", host, ntohs(v4->sin_port));
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(text, sizeof text, "[%s]:%d", host, ntohs(v6->sin6_port));
  } else if (address->sa_family == AF_UNIX) {
    snprintf(text, sizeof text, "unix:%s", ((const struct sockaddr_un *)address)->sun_path);
  } else {
    snprintf(text, sizeof text, "family %d", address->sa_family);
  }
  note(what, text);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "connect");
  note_address("connect", address);
  return real(socket, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
  static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
  note("lookup", node ? node : "-");
  if (node && strcmp(node, "127.0.0.1") && strcmp(node, "localhost")) return EAI_FAIL;
  return real(node, service, hints, result);
}

ssize_t sendto(int socket, const void *bytes, size_t length, int flags,
               const struct sockaddr *address, socklen_t address_length) {
  static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendto");
  if (address) note_address("sendto", address);
  return real(socket, bytes, length, flags, address, address_length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  static ssize_t (*real)(int, const struct msghdr *, int);
  if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
  if (message && message->msg_name) note_address("sendmsg", message->msg_name);
  return real(socket, message, flags);
}
