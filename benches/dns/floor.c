/* What the kernel takes of any name server that reads and writes datagrams in batches, as Portolan does: this one sends back
 * what came, with the bit of an answer set, and knows nothing. `floor PORT` on 127.0.0.1. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, SIZE = 4096, GATHER_AFTER = 4, GATHER_NS = 50000 };

int main(int count, char **words) {
    static char space[BATCH][SIZE];
    static struct sockaddr_in peers[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 1 << 20;
    if (count != 2) return 2;
    address.sin_port = htons((unsigned short)atoi(words[1]));
    setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(socket_fd, (struct sockaddr *)&address, sizeof address) != 0) return perror("bind"), 1;
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    for (int came = 0;;) {
        struct timespec moment = {0, GATHER_NS};
        if (came >= GATHER_AFTER && came < BATCH) clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        for (int at = 0; at < BATCH; at++) {
            parts[at] = (struct iovec){space[at], SIZE};
            messages[at].msg_hdr = (struct msghdr){
                .msg_name = &peers[at], .msg_namelen = sizeof peers[at], .msg_iov = &parts[at], .msg_iovlen = 1};
        }
        came = recvmmsg(socket_fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int at = 0; at < came; at++) {
            parts[at].iov_len = messages[at].msg_len;
            space[at][2] |= (char)0x80;
        }
        for (int sent = 0; sent < came;) {
            int now = sendmmsg(socket_fd, messages + sent, (unsigned)(came - sent), 0);
            sent += now > 0 ? now : 1;
        }
    }
}
