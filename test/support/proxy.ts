// A TCP proxy that fails when it is told to: cut lines, silence, refused connections.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export class TestProxy {
  readonly #server: Server
  readonly #pairs = new Map<Socket, Socket>()
  /** Of the next connection. */
  #target: () => number
  #port = 0
  #held = false
  #refusing = false

  /** One port for all, or one for each new connection. */
  constructor(target: number | (() => number)) {
    this.#target = typeof target === 'number' ? () => target : target
    this.#server = createServer((inner) => this.#accept(inner))
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  get port(): number {
    return this.#port
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** New connections lead there from now on. */
  retarget(port: number): void {
    this.#target = () => port
  }

  /** All lines break at once, without a goodbye. */
  cut(): void {
    for (const [inner, outer] of this.#pairs) {
      inner.destroy()
      outer.destroy()
    }
  }

  /** Lines stay open and nothing passes, in either direction. */
  hold(): void {
    this.#held = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  resume(): void {
    this.#held = false
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  /** Cuts all lines, and every new one until told otherwise. */
  refuse(refusing = true): void {
    this.#refusing = refusing
    if (refusing) this.cut()
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    this.cut()
    await closed
  }

  #accept(inner: Socket): void {
    if (this.#refusing) {
      inner.destroy()
      return
    }
    const outer = connect({ port: this.#target(), host: '127.0.0.1', noDelay: true })
    inner.setNoDelay(true)
    this.#pairs.set(inner, outer)
    this.#join(inner, outer)
    this.#join(outer, inner)
    inner.on('close', () => this.#pairs.delete(inner))
  }

  /** By hand, since a pipe resumes what was paused. */
  #join(from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => {
        if (!this.#held) from.resume()
      })
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
    if (this.#held) from.pause()
  }
}
