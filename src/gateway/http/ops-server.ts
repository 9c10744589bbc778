// The HTTP server for operators and probes. It does not authenticate requests, so clients must not be able to
// reach its port. Should one reach it all the same, it gets one response at a time on a connection, as on the
// clients' port.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Gateway } from '../gateway.js'
import { whenClosed } from './http-errors.js'
import { closeServer, listen } from './listen.js'
import { handleOpsRequest, type OpsOptions } from './ops.js'
import { RequestGate } from './request-gate.js'

/** The limit for receiving a whole request. */
const requestTimeoutMs = 5_000
/** The limit for reading a response. */
const responseTimeoutMs = 8_000

export class OpsServer {
  readonly #http: Server
  readonly #gateway: Gateway
  readonly #options: OpsOptions
  readonly #gates = new WeakMap<Socket, RequestGate>()

  constructor(gateway: Gateway, options: OpsOptions = {}) {
    this.#gateway = gateway
    this.#options = options
    const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
      this.#onRequest(request, response)
    this.#http = createServer(
      { headersTimeout: requestTimeoutMs, requestTimeout: requestTimeoutMs },
      onRequest,
    )
    // Node would answer these itself, and parse the next request meanwhile.
    this.#http.on('checkExpectation', onRequest)
    this.#http.on('checkContinue', onRequest)
    this.#http.on('connection', (socket: Socket) => {
      const onCut = (reason: string): void => gateway.metrics.cutConnections.inc({ reason })
      this.#gates.set(socket, new RequestGate(socket, onCut))
    })
  }

  listen(port: number, host: string): Promise<AddressInfo> {
    return listen(this.#http, { port, host })
  }

  close(): Promise<void> {
    return closeServer(this.#http)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const gate = this.#gates.get(request.socket)
    if (!gate?.begin(request, response)) return
    const { wheel } = this.#gateway.context
    const deadline = wheel.after(responseTimeoutMs, () => gate.cut('unread_response'))
    whenClosed(response, () => wheel.cancel(deadline))
    handleOpsRequest(this.#gateway, { request, response }, this.#options).catch((error: unknown) => {
      this.#gateway.reportBug(error, 'a request to the operators port failed')
      response.destroy()
    })
  }
}
