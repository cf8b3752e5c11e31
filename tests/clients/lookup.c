/* Prints the IPv4 addresses that the C library's resolver finds for a name, a line each; nothing where it finds none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found, *one;

	if (argc != 2 || getaddrinfo(argv[1], "80", &hints, &found) != 0)
		return 1;
	for (one = found; one; one = one->ai_next) {
		char text[INET6_ADDRSTRLEN];

		if (one->ai_family != AF_INET)
			continue;
		inet_ntop(AF_INET, &((struct sockaddr_in *)one->ai_addr)->sin_addr, text, sizeof text);
		puts(text);
	}
	return 0;
}
