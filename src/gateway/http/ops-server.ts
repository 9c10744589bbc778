// The HTTP server for operators and probes. It does not authenticate requests, so clients must not be able to
// reach its port.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { listen, closeServer } from './listen.js'
import type { Gateway } from '../gateway.js'
import { handleOpsRequest, type OpsOptions } from './ops.js'

export class OpsServer {
  readonly #http: Server

  constructor(gateway: Gateway, options: OpsOptions = {}) {
    this.#http = createServer((request, response) => {
      handleOpsRequest(gateway, { request, response }, options).catch((error: unknown) => {
        gateway.reportBug(error, 'a request to the operators port failed')
        response.destroy()
      })
    })
  }

  listen(port: number, host: string): Promise<AddressInfo> {
    return listen(this.#http, { port, host })
  }

  close(): Promise<void> {
    return closeServer(this.#http)
  }
}
