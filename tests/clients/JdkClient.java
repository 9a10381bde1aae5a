import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/**
 * Pushes the shared registry as text over the JDK's own client, which offers HTTP/2 with every plain
 * request: JdkClient URL STEP
 */
class JdkClient {
    public static void main(String[] arguments) throws Exception {
        String path = arguments[0] + "/metrics/job/jdk/instance/i/path@base64/L3Zhci90bXA=";
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(path)).header("Content-Type", "text/plain");
        switch (arguments[1]) {
            case "push" -> request.PUT(BodyPublishers.ofString("""
                    # HELP jobs_total Jobs done.
                    # TYPE jobs_total counter
                    jobs_total{kind="a b"} 3.0
                    # HELP load How busy.
                    # TYPE load gauge
                    load 0.5
                    # HELP latency_seconds How long.
                    # TYPE latency_seconds histogram
                    latency_seconds_bucket{le="0.5"} 1
                    latency_seconds_bucket{le="1.0"} 2
                    latency_seconds_bucket{le="+Inf"} 3
                    latency_seconds_count 3
                    latency_seconds_sum 3.0
                    """));
            case "add" -> request.POST(BodyPublishers.ofString("# HELP added Added later.\n# TYPE added gauge\nadded 7.0\n"));
            default -> request.DELETE();
        }
        int status = HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString()).statusCode();
        if (status != (arguments[1].equals("delete") ? 202 : 200)) {
            System.err.println("status " + status);
            System.exit(1);
        }
    }
}
