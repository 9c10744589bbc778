// A fake Redis server for answers that the real one in tests does not give: an old version, a wrong or slow
// Sentinel.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Returns the reply to one command in RESP2, such as `+OK\r\n`. */
export type Answer = (command: readonly string[]) => string | Promise<string>

export class FakeRedis {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #answering = 0
  /** The highest number of commands that were in progress at the same time, over all connections. */
  answeringMax = 0
  /** The number of received commands. */
  asked = 0

  constructor(answer: Answer) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
      let text = ''
      // Commands are answered one after the other, as by Redis.
      let previous = Promise.resolve()
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1')
        for (let read = readCommand(text); read; read = readCommand(text)) {
          text = text.slice(read.length)
          const { command } = read
          previous = previous.then(async () => {
            this.asked += 1
            this.#answering += 1
            this.answeringMax = Math.max(this.answeringMax, this.#answering)
            const reply = await answer(command)
            this.#answering -= 1
            socket.write(reply)
          })
        }
      })
    })
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#sockets.size
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

/** Encodes an array of bulk strings, one bulk string, an error or a null array. */
export function resp(reply: readonly string[] | string | Error | null): string {
  if (reply === null) return '*-1\r\n'
  if (reply instanceof Error) return `-${reply.message}\r\n`
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`
  return `*${reply.length}\r\n${reply.map((item) => resp(item)).join('')}`
}

/**
 * Returns an `Answer` like that of a Sentinel that reports the given master. It rejects HELLO, so that the
 * client uses RESP2.
 */
export function sentinelAnswer(masterOf: () => { host: string; port: number } | null, waitMs = 0): Answer {
  return async ([name = '', sub = '']) => {
    if (name.toUpperCase() === 'HELLO') return resp(new Error('NOPROTO unsupported protocol version'))
    if (name.toUpperCase() !== 'SENTINEL') return '+OK\r\n'
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    const address = masterOf()
    if (sub === 'master') {
      return resp(address ? ['num-slaves', '2'] : new Error('ERR No such master with that name'))
    }
    return resp(address && [address.host, String(address.port)])
  }
}

function readCommand(text: string): { command: string[]; length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text)
  if (!head) return undefined
  const command: string[] = []
  let at = head[0].length
  for (let left = Number(head[1]); left > 0; left -= 1) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20))
    if (!size) return undefined
    at += size[0].length
    const end = at + Number(size[1])
    if (text.length < end + 2) return undefined
    command.push(text.slice(at, end))
    at = end + 2
  }
  return { command, length: at }
}
