// docs/reference/openapi.json: the server API, for people's tools.
import { openApi } from '../../dist/gateway/api/openapi.js'

export function openApiPage() {
  return `${JSON.stringify(openApi(), null, 2)}\n`
}
