// The controller's port for operators and probes.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { ControllerMetrics } from '../../metrics-controller.js'

/** What the probes ask. */
export interface ControllerHealth {
  unready(): string[]
  dead(): string[]
  readonly leading: boolean
}

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
      return tell(response, registry)
    case '/metrics/tenants':
      return tell(response, tenantRegistry)
    case '/healthz':
      return say(response, health.dead(), health.leading)
    case '/readyz':
      return say(response, health.unready(), health.leading)
    default:
      response
        .writeHead(404, { 'Content-Type': 'text/plain' })
        .end('There is /metrics, /metrics/tenants, /healthz and /readyz.\n')
  }
}

async function tell(response: ServerResponse, registry: ControllerMetrics['registry']): Promise<void> {
  const text = await registry.metrics()
  response.writeHead(200, { 'Content-Type': registry.contentType }).end(text)
}

function say(response: ServerResponse, reasons: readonly string[], leading: boolean): void {
  response.writeHead(reasons.length === 0 ? 200 : 503, { 'Content-Type': 'application/json' })
  response.end(`${JSON.stringify({ status: reasons.length === 0 ? 'ok' : 'not ok', leading, reasons })}\n`)
}
