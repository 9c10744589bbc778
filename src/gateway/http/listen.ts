// One way to open a port, and to close it.
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** Node's HTTP server forgets a socket once it is upgraded; someone has to know it. */
const socketsOf = new WeakMap<Server, Set<Socket>>()

/**
 * Connections that the kernel keeps until they are accepted, as far as its own `somaxconn` lets it. Node would say 511: of thousands who come
 * at once the others' first packets are dropped, and they try again after a second, then after three.
 */
const backlog = 4_096

/** Port 0 takes a free one; the address tells which. Rejects with the system's error (EADDRINUSE, EACCES). */
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

/** Takes no new connections, gives the old ones `graceMs` to end by themselves (a goodbye is on its way to them), and cuts what is left. */
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
