// Socket.IO with its Redis adapter, a common alternative, over WebSocket only. It has no history and no
// acknowledgements.
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const redisPort = Number(process.argv[2])
const http = createServer()
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  adapter: createAdapter(new Redis(redisPort, '127.0.0.1'), new Redis(redisPort, '127.0.0.1')),
})

io.on('connection', (socket) => {
  Promise.resolve(socket.join(socket.handshake.auth['channels'])).catch(console.error)
  socket.on('publish', (channel, data) => io.to(channel).emit('publication', data))
})
http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
  console.log(`listening on ${/** @type {any} */ (http.address()).port}`),
)
