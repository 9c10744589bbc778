// Generates docs/reference/metrics.md: every metric of the gateway and of the controller.
import { ControllerMetrics } from '../../dist/metrics-controller.js'
import { TenantMetrics } from '../../dist/metrics-tenants.js'
import { Metrics } from '../../dist/metrics.js'
import { generatedNote, table } from './table.mjs'

const noGauges = () => ({
  connections: 0,
  connectionsMax: 0,
  unauthenticated: 0,
  unauthenticatedMax: 0,
  unauthenticatedOfOneAddress: 0,
  subscriptions: 0,
  channels: 0,
  memory: { bytes: 0, bytesMax: 0 },
  tenants: 0,
  manifestProblems: 0,
  ready: true,
  draining: false,
  redisAwaySeconds: undefined,
  redisMemory: undefined,
  catalogAgeSeconds: undefined,
  certificateExpiresSeconds: undefined,
})

/** @param {import('prom-client').Registry} registry */
async function rows(registry) {
  const metrics = await registry.getMetricsAsJSON()
  return metrics.map(({ help, name, type }) => {
    // The types of prom-client do not declare labelNames.
    const { labelNames } = /** @type {{ labelNames: string[] }} */ (
      /** @type {unknown} */ (registry.getSingleMetric(name))
    )
    return [`\`${name}\``, String(type), labelNames.map((label) => `\`${label}\``).join(', '), help]
  })
}

/** Returns metrics in which everything that appears on first use is present. */
function controllerMetrics() {
  const metrics = new ControllerMetrics({ process: false })
  metrics.queueMeter('')
  metrics.reconcileMeter('', 0)
  metrics.leaseMeter('')
  metrics.restMeter('')('', '')
  return metrics
}

export async function metricsPage() {
  const metrics = new Metrics(noGauges, { process: false })
  const controller = controllerMetrics()
  const head = ['name', 'type', 'labels', 'meaning']
  return `${generatedNote}
# Metrics

Each gateway serves its metrics in the Prometheus text format on port 9090, each controller on port 9091. No
label contains a user or a channel.

## \`/metrics\`

The metrics of one gateway, together with those of its Node process (\`process_…\`, \`nodejs_…\`).

${table(head, await rows(metrics.registry))}
## \`/metrics/tenants\`

The metrics of each tenant on one gateway, with the label \`tenant="<namespace>/<name>"\`. Scrape this path
less often than \`/metrics\`.

${table(head, await rows(new TenantMetrics(() => []).registry))}
## The controller's \`/metrics\`

The metrics of one controller on port 9091, together with those of its Node process. They have the names of
controller-runtime and client-go where those libraries have such a metric.

${table(head, await rows(controller.registry))}
## The controller's \`/metrics/tenants\`

${table(head, await rows(controller.tenantRegistry))}`
}
