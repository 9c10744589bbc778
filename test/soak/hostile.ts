// Clients that attack a gateway: strangers without a token, and members and backends of the tenant `green`.
// Each attack runs until its signal aborts, and ignores how the gateway refuses it.
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { pause } from '../../src/deadline.js'
import { greenApiKey } from '../faults/endpoint-clients.js'
import { centrifugePath, upgradeRequest } from '../support/raw-http.js'

export interface Target {
  /** The port of a gateway for clients. */
  readonly port: number
  /** Returns a token of a user of `green`. */
  token(user: string): Promise<string>
}

export type Attack = (target: Target, signal: AbortSignal) => Promise<void>

const green = '/faults/green'

/** Opens bare sockets up to `count`, and again those that the gateway closes. Calls `use` with each. */
async function holdSockets(
  { port }: Target,
  signal: AbortSignal,
  { count, use, read }: { count: number; use: (socket: Socket) => void; read: boolean },
): Promise<void> {
  const open = new Set<Socket>()
  while (!signal.aborted) {
    for (let n = open.size; n < count; n += 1) {
      const socket = connect({ port, host: '127.0.0.1' })
      open.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => open.delete(socket))
      socket.once('connect', () => use(socket))
      if (read) socket.resume()
      else socket.pause()
    }
    await pause(200, signal)
  }
  for (const socket of open) socket.destroy()
}

/** Keeps `count` WebSocket clients of `green` open. Calls `use` with each until the signal aborts. */
async function holdClients(
  target: Target,
  signal: AbortSignal,
  options: { count: number; guests?: boolean; use: (socket: WebSocket, n: number) => void; everyMs: number },
): Promise<void> {
  const { count, everyMs, guests = false, use } = options
  const sockets: (WebSocket | undefined)[] = Array.from({ length: count })
  while (!signal.aborted) {
    for (let n = 0; n < count; n += 1) {
      const socket = sockets[n]
      if (socket?.readyState === WebSocket.OPEN) use(socket, n)
      if (socket && socket.readyState !== WebSocket.CLOSED) continue
      const query = guests ? '' : `?token=${await target.token(`hostile-${n}`)}`
      const opened = new WebSocket(`ws://127.0.0.1:${target.port}${green}/ws${query}`)
      opened.on('error', () => {})
      sockets[n] = opened
    }
    await pause(everyMs, signal)
  }
  for (const socket of sockets) socket?.terminate()
}

const bufferedMax = 1_000_000

function send(socket: WebSocket, command: object): void {
  if (socket.bufferedAmount < bufferedMax) socket.send(JSON.stringify(command))
}

const pipelined = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: chat.example.com\r\n\r\n`.repeat(400)

async function callApi({ port }: Target, signal: AbortSignal, method: string, body: object): Promise<void> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${green}/api/${method}`, {
      method: 'POST',
      headers: { 'x-api-key': greenApiKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    })
    await response.arrayBuffer()
  } catch {
    // Refused, or the gateway is gone.
  }
}

async function repeat(signal: AbortSignal, parallel: number, step: () => Promise<void>): Promise<void> {
  const worker = async (): Promise<void> => {
    while (!signal.aborted) {
      await step()
      await pause(1, signal)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
}

const largeText = 'x'.repeat(15_000)

/** The attacks by name. */
export const attacks: Readonly<Record<string, Attack>> = {
  'pipelined requests whose answers nobody reads': (target, signal) =>
    holdSockets(target, signal, {
      count: 20,
      read: false,
      use: (socket) => socket.write(pipelined('/api/openapi.json')),
    }),
  'pipelined requests for a missing page': (target, signal) =>
    holdSockets(target, signal, {
      count: 5,
      read: true,
      use: (socket) => socket.write(pipelined('/nothing/here/at/all')),
    }),
  'sockets that send nothing': (target, signal) =>
    holdSockets(target, signal, { count: 1_500, read: true, use: () => {} }),
  'requests that never end': (target, signal) =>
    holdSockets(target, signal, {
      count: 200,
      read: true,
      use: (socket) => socket.write('GET /faults/green/ws HTTP/1.1\r\nHost: chat.example.com\r\nX-Slow: '),
    }),
  'random bytes after the upgrade': (target, signal) =>
    holdSockets(target, signal, {
      count: 20,
      read: true,
      use: (socket) => {
        socket.write(upgradeRequest({ target: centrifugePath.replace('/demo/acme', green) }))
        setTimeout(() => socket.write(randomBytes(20_000)), 50)
      },
    }),
  'guests that connect and leave': (target, signal) =>
    holdClients(target, signal, {
      count: 30,
      guests: true,
      everyMs: 20,
      use: (socket) => socket.terminate(),
    }),
  'guests that take all connections': (target, signal) =>
    holdClients(target, signal, { count: 700, guests: true, everyMs: 500, use: () => {} }),
  'publishes far above the quota': (target, signal) =>
    holdClients(target, signal, {
      count: 20,
      everyMs: 10,
      use: (socket, n) => {
        for (let burst = 0; burst < 10; burst += 1)
          send(socket, { type: 'room_message', room: `room-${n % 5}`, content: { t: largeText } })
      },
    }),
  'history that nobody reads': (target, signal) =>
    holdClients(target, signal, {
      count: 100,
      everyMs: 100,
      use: (socket, n) => {
        socket.pause()
        send(socket, { type: 'history', room: `room-${n % 5}`, limit: 100, id: `${n}` })
      },
    }),
  'reads and joins of invented channels': (target, signal) =>
    holdClients(target, signal, {
      count: 30,
      everyMs: 20,
      use: (socket, n) => {
        const room = `invented-${n}-${Math.random()}`
        send(socket, { type: 'history', room, limit: 10, id: 'h' })
        send(socket, { type: 'join_room', room, id: 'j' })
        send(socket, { type: 'presence', room, id: 'p' })
        send(socket, { type: 'leave_room', room, id: 'l' })
      },
    }),
  'joins and leaves of one room': (target, signal) =>
    holdClients(target, signal, {
      count: 100,
      everyMs: 50,
      use: (socket) => {
        send(socket, { type: 'join_room', room: 'busy', id: 'j' })
        send(socket, { type: 'leave_room', room: 'busy', id: 'l' })
      },
    }),
  'a backend that disconnects users': (target, signal) =>
    repeat(signal, 20, () => callApi(target, signal, 'disconnect', { user: 'hostile-1' })),
  'a backend that reads history in batches': (target, signal) =>
    repeat(signal, 20, () => {
      const commands = Array.from({ length: 100 }, (_, n) => ({
        history: { channel: `room-${n % 5}`, limit: 100 },
      }))
      return callApi(target, signal, 'batch', { commands, parallel: true })
    }),
  'a backend that lists channels': (target, signal) =>
    repeat(signal, 10, () => callApi(target, signal, 'channels', { pattern: '*' })),
}
