// Opens and closes the port of an HTTP server.
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** The open sockets of each server. Node's HTTP server does not track a socket after its upgrade. */
const socketsOf = new WeakMap<Server, Set<Socket>>()

/**
 * The number of connections that the kernel queues until they are accepted, up to its own `somaxconn`. Node's
 * default is 511. When thousands of clients connect at once, the kernel drops the first packets of the
 * others, and these retry after one second, then after three.
 */
const backlog = 4_096

/**
 * Opens the port; 0 takes a free one. Resolves to the address. Rejects with the system's error (EADDRINUSE,
 * EACCES).
 */
export function listen(server: Server, options: { port: number; host: string }): Promise<AddressInfo> {
  const sockets = new Set<Socket>()
  socketsOf.set(server, sockets)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...options, backlog }, () => {
      server.off('error', reject)
      const address = server.address()
      if (address === null || typeof address === 'string') reject(new Error('the server has no TCP address'))
      else resolve(address)
    })
  })
}

/**
 * Stops accepting connections, waits `graceMs` (default: 0) for the open ones to close after their close
 * frame, and cuts the rest. Resolves when all are closed.
 */
export function closeServer(server: Server, graceMs = 0): Promise<void> {
  const sockets = socketsOf.get(server) ?? new Set<Socket>()
  return new Promise((resolve) => {
    const timeout = setTimeout(() => {
      for (const socket of sockets) socket.destroy()
    }, graceMs)
    server.close(() => {
      clearTimeout(timeout)
      resolve()
    })
    server.closeIdleConnections()
  })
}
