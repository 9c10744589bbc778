// The baseline: a loop over ws. It has no tenants, tokens, rules, history or recovery, and subscribes each
// client to the channels that it asks for.
import { WebSocketServer } from 'ws'

/** @type {Map<string, Set<import('ws').WebSocket>>} */
const subscribers = new Map()
const server = new WebSocketServer({
  port: 0,
  host: '127.0.0.1',
  backlog: 4096,
  perMessageDeflate: false,
  clientTracking: false,
})

server.on('connection', (socket, request) => {
  const channels = new URL(request.url ?? '', 'ws://baseline').searchParams.getAll('channel')
  for (const channel of channels) {
    const sockets = subscribers.get(channel) ?? new Set()
    subscribers.set(channel, sockets.add(socket))
    socket.on('close', () => sockets.delete(socket))
  }
  socket.on('error', () => {})
  // A message is `<channel> <data>`.
  socket.on('message', (/** @type {Buffer} */ message) => {
    const space = message.indexOf(' ')
    const data = message.subarray(space + 1)
    for (const subscriber of subscribers.get(message.toString('latin1', 0, space)) ?? [])
      subscriber.send(data, { binary: false })
  })
})
server.on('listening', () => console.log(`listening on ${/** @type {any} */ (server.address()).port}`))
