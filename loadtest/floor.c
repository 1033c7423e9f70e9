// The floor under every comparison: the least that a server on epoll can do for a request on this kernel. It is one
// recv and one send of an answer that never changes, and nothing is parsed. So it is right only for clients that send
// one whole request and wait for its answer, and it is the baseline for what HTTP, checks and a journal cost on top.
//
//   cc -O2 -o floor loadtest/floor.c && ./floor PORT
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, BACKLOG = 4096 };
static const char ANSWER[] = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
static char request[1 << 16];

static int listen_on(int port) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG)) {
        perror("listen");
        exit(1);
    }
    return listener;
}

static void watch(int epoll, int socket) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

static void take(int epoll, int listener) {
    int on = 1, socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (socket < 0) return;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(epoll, socket);
}

static void answer(int socket) {
    if (recv(socket, request, sizeof request, 0) <= 0 || send(socket, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0)
        close(socket);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    int listener = listen_on(atoi(arguments[1])), epoll = epoll_create1(0);
    struct epoll_event events[EVENTS];
    watch(epoll, listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int index = 0; index < ready; index++) {
            int socket = events[index].data.fd;
            if (socket == listener)
                take(epoll, listener);
            else
                answer(socket);
        }
    }
}
