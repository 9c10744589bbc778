// The controller's port for operators and probes.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { ControllerMetrics } from '../../metrics-controller.js'

/** The health that the probes report. */
export interface ControllerHealth {
  /** The reasons why the controller is not ready; empty when it is. */
  unready(): string[]
  /** The reasons why the process must be restarted; empty when it is healthy. */
  dead(): string[]
  readonly leading: boolean
}

/** Makes the HTTP server for metrics and probes. */
export function controllerOps(health: ControllerHealth, metrics: ControllerMetrics): Server {
  return createServer((request, response) => {
    answer(health, metrics, { request, response }).catch(() => response.destroy())
  })
}

async function answer(
  health: ControllerHealth,
  { registry, tenantRegistry }: ControllerMetrics,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  switch (request.url?.split('?')[0]) {
    case '/metrics':
      return sendMetrics(response, registry)
    case '/metrics/tenants':
      return sendMetrics(response, tenantRegistry)
    case '/healthz':
      return sendProbe(response, health.dead(), health.leading)
    case '/readyz':
      return sendProbe(response, health.unready(), health.leading)
    default:
      response
        .writeHead(404, { 'Content-Type': 'text/plain' })
        .end('The pages are /metrics, /metrics/tenants, /healthz and /readyz.\n')
  }
}

async function sendMetrics(response: ServerResponse, registry: ControllerMetrics['registry']): Promise<void> {
  const text = await registry.metrics()
  response.writeHead(200, { 'Content-Type': registry.contentType }).end(text)
}

function sendProbe(response: ServerResponse, reasons: readonly string[], leading: boolean): void {
  response.writeHead(reasons.length === 0 ? 200 : 503, { 'Content-Type': 'application/json' })
  response.end(`${JSON.stringify({ status: reasons.length === 0 ? 'ok' : 'not ok', leading, reasons })}\n`)
}
