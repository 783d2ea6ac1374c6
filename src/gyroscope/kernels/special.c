/* The special functions behind the tails of distributions, for arrays of numbers.
 *
 * Whichever of two complementary tails is the smaller is computed by itself, so that it is exact
 * to some 1e-13 of its own size wherever a float64 can hold it.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>

#define TAU 6.283185307179586
#define MOST_TERMS 10000000 /* more than any convergent fraction below needs */

/* Wichura (1988), Algorithm AS 241, Applied Statistics 37: PPND16; highest power first. */
static const double CENTRE_ABOVE[8] = {
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
    13731.69376550946, 1971.5909503065513, 133.14166789178438, 3.3871328727963665};
static const double CENTRE_BELOW[8] = {
    5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597,
    5394.196021424751, 687.1870074920579, 42.31333070160091, 1.0};
static const double SIDE_ABOVE[8] = {
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
    3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835};
static const double SIDE_BELOW[8] = {
    1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
    0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0};
static const double TAIL_ABOVE[8] = {
    2.0103343992922881e-07, 2.7115555687434876e-05, 0.0012426609473880784, 0.026532189526576124,
    0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103};
static const double TAIL_BELOW[8] = {
    2.0442631033899397e-15, 1.421511758316446e-07, 1.8463183175100548e-05, 0.0007868691311456133,
    0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1.0};

/* Temme's expansion: the power series in eta of the factor of a^-k, from DLMF 8.12.10 and 8.12.11
 * in exact fractions (the tests do so again). For a of 200 or more and x / a within 0.3 of 1 what
 * is left out is below 1e-16. */
#define ORDERS 6
#define POWERS 16
static const double TEMME[ORDERS][POWERS] = {
    {-0.33333333333333331, 0.083333333333333329, -0.014814814814814815, 0.0011574074074074073,
     0.00035273368606701942, -0.0001787551440329218, 3.9192631785224377e-05, -2.185448510679992e-06,
     -1.85406221071516e-06, 8.2967113409530865e-07, -1.7665952736826078e-07, 6.7078535434014984e-09,
     1.0261809784240309e-08, -4.3820360184533529e-09, 9.1476995822367902e-10, -2.5514193994946248e-11},
    {-0.0018518518518518519, -0.003472222222222222, 0.0026455026455026454, -0.00099022633744855963,
     0.00020576131687242798, -4.018775720164609e-07, -1.8098550334489977e-05, 7.6491609160811098e-06,
     -1.6120900894563446e-06, 4.647127802807434e-09, 1.3786334469157209e-07, -5.7525456035177047e-08,
     1.1951628599778148e-08, -1.7543241719747647e-11},
    {0.0041335978835978834, -0.0026813271604938273, 0.0007716049382716049, 2.0093878600823047e-06,
     -0.0001073665322636516, 5.2923448829120125e-05, -1.2760635188618728e-05, 3.4235787340961378e-08,
     1.3721957309062934e-06, -6.2989921383800548e-07, 1.4280614206064242e-07, -2.0477098421990866e-10},
    {0.00064943415637860077, 0.00022947209362139917, -0.0004691894943952557, 0.00026772063206283885,
     -7.5618016718839766e-05, -2.3965051138672968e-07, 1.1082654115347302e-05, -5.6749528269915965e-06,
     1.4230900732435883e-06, -2.7861080291528143e-11},
    {-0.00086188829091671173, 0.00078403922172006662, -0.00029907248030319018, -1.4638452578843418e-06,
     6.6414982154651219e-05, -3.9683650471794347e-05, 1.1375726970678419e-05, 2.5074972262375329e-10},
    {-0.00033679855336635813, -6.9728137583658571e-05, 0.00027727532449593918, -0.00019932570516188847,
     6.797780477937208e-05, 1.4190629206439671e-07},
};
#define TEMME_FROM 200.0
#define TEMME_WITHIN 0.3

static double polynomial(const double *highest_first, double x)
{
    double sum = 0.0;
    for (int i = 0; i < 8; i++)
        sum = sum * x + highest_first[i];
    return sum;
}

/* Where p - 1/2 = q is near 0. */
static double central_quantile(double q)
{
    double r = 0.180625 - q * q;
    return q * polynomial(CENTRE_ABOVE, r) / polynomial(CENTRE_BELOW, r);
}

static double outer_quantile(double p)
{
    if (!(p > 0 && p < 1))
        return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    double r = sqrt(-log(p < 0.5 ? p : 1 - p));
    double size = r <= 5 ? polynomial(SIDE_ABOVE, r - 1.6) / polynomial(SIDE_BELOW, r - 1.6)
                         : polynomial(TAIL_ABOVE, r - 5) / polynomial(TAIL_BELOW, r - 5);
    return copysign(size, p - 0.5);
}

/* u - log(1 + u) for x = a (1 + u), without loss where u is small. */
static double departure(double a, double x)
{
    double u = (x - a) / a, v = (x - a) / (x + a);
    if (fabs(v) > 0.4)
        return u - log(x / a);
    double square = v * v, power = square, sum = 0.0;
    for (int i = 3; power > sum * DBL_EPSILON / 4; i += 2, power *= square)
        sum += power / i;
    return v * (u - 2 * sum);
}

/* log of Gamma(a + 1) over Stirling's formula. */
static double stirling_error(double a)
{
    static const double series[] = {1 / 156.0, -691 / 360360.0, 1 / 1188.0, -1 / 1680.0,
                                    1 / 1260.0, -1 / 360.0, 1 / 12.0};
    double below = 0.0;
    for (; a < 16; a += 1)
        below += (a + 0.5) * log1p(1 / a) - 1;
    double sum = 0.0;
    for (int i = 0; i < 7; i++)
        sum = sum / (a * a) + series[i];
    return below + sum / a;
}

/* The lower tail by its power series, without the factor x^a e^-x / Gamma(a + 1). */
static double gamma_series(double a, double x)
{
    double term = 1.0, sum = 1.0;
    for (int i = 1; i < MOST_TERMS && term > sum * DBL_EPSILON / 4; i++) {
        term *= x / (a + i);
        sum += term;
    }
    return sum;
}

/* The upper tail by Legendre's continued fraction (DLMF 8.9.2), without the same factor; by the
 * method of Lentz, as changed by Thompson and Barnett (1986). */
static double gamma_fraction(double a, double x)
{
    double b = x + 1 - a, c = INFINITY, d = 1 / b, value = a * d;
    for (int i = 1; i < MOST_TERMS; i++) {
        double above = i * (a - i);
        b += 2;
        d = 1 / (b + above * d);
        c = b + above / c;
        value *= c * d;
        if (fabs(c * d - 1) < DBL_EPSILON)
            break;
    }
    return value;
}

/* What Temme's expansion adds to the upper tail of the normal distribution. */
static double temme_sum(double a, double eta)
{
    double total = 0.0;
    for (int k = ORDERS - 1; k >= 0; k--) {
        double sum = 0.0;
        for (int i = POWERS - 1; i >= 0; i--)
            sum = sum * eta + TEMME[k][i];
        total = total / a + sum;
    }
    return total;
}

/* The upper or the lower tail of the gamma distribution of shape a at x. */
static double gamma_tail(double a, double x, int upper)
{
    if (isnan(a) || isnan(x) || a <= 0 || x < 0)
        return NAN;
    if (x == 0 || isinf(a))
        return upper;
    if (isinf(x))
        return !upper;
    double off = departure(a, x);
    double tail;
    int is_upper = x > a;
    if (a >= TEMME_FROM && fabs(x - a) < TEMME_WITHIN * a) {
        double eta = copysign(sqrt(2 * off), x - a);
        double added = temme_sum(a, eta) * exp(-a * off) / sqrt(TAU * a);
        tail = erfc(sqrt(a * off)) / 2 + (is_upper ? added : -added);
    } else {
        double factor = exp(-a * off - stirling_error(a)) / sqrt(TAU * a);
        is_upper = x >= a + 1;
        tail = factor * (is_upper ? gamma_fraction(a, x) : gamma_series(a, x));
    }
    return upper == is_upper ? tail : 1 - tail;
}

static double upper_gamma(double a, double x)
{
    return gamma_tail(a, x, 1);
}

static double lower_gamma(double a, double x)
{
    return gamma_tail(a, x, 0);
}

/* I_x(a, b) for x = 1 - y up to the mean, by the continued fraction of Didonato and Morris (1992),
 * Algorithm 708, ACM Transactions on Mathematical Software 18; the factor before it by deviances,
 * after Loader (2000), Fast and accurate computation of binomial probabilities. */
static double beta_up_to_mean(double a, double b, double x, double y)
{
    double n = a + b, lead = a * y - b * x + 1;
    double exponent = stirling_error(n) - stirling_error(a) - stirling_error(b)
                      - a * departure(a, n * x) - b * departure(b, n * y);
    double value = a * lead / (a + 1), c = value, d = 0.0;
    for (int i = 1; i < MOST_TERMS; i++) {
        double s = a + 2.0 * i - 1, w = i * (b - i) * x;
        double above = (a + i - 1) * (n + i - 1) * w * x / (s * s);
        double below = i + w / s + (a + i) * (lead + i * (1 + y)) / (s + 2);
        d = 1 / (below + above * d);
        c = below + above / c;
        value *= c * d;
        if (fabs(c * d - 1) < DBL_EPSILON)
            break;
    }
    return exp(exponent) * sqrt(a * b / (TAU * n)) / value;
}

static double beta(double a, double b, double x, double y)
{
    if (!(a > 0 && b > 0 && x >= 0 && y >= 0))
        return NAN;
    if (x == 0 || y == 0)
        return y == 0;
    return a * y >= b * x ? beta_up_to_mean(a, b, x, y) : 1 - beta_up_to_mean(b, a, y, x);
}

#define FOR_EACH(name, parameters, call) \
    void name parameters \
    { \
        for (int64_t i = 0; i < n; i++) \
            out[i] = call; \
    }

FOR_EACH(gyro_erfc, (int64_t n, const double *x, double *out), erfc(x[i]))
FOR_EACH(gyro_gammaln, (int64_t n, const double *x, double *out), lgamma(x[i]))
FOR_EACH(gyro_gammaincc, (int64_t n, const double *a, const double *x, double *out),
         upper_gamma(a[i], x[i]))
FOR_EACH(gyro_gammainc, (int64_t n, const double *a, const double *x, double *out),
         lower_gamma(a[i], x[i]))
FOR_EACH(gyro_betainc,
         (int64_t n, const double *a, const double *b, const double *x, const double *y,
          double *out),
         beta(a[i], b[i], x[i], y[i]))

/* All as if they were near the centre, without a branch, which is several at a time; then those
 * that are not. */
void gyro_ndtri(int64_t n, const double *restrict p, double *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = central_quantile(p[i] - 0.5);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(p[i] - 0.5) <= 0.425))
            out[i] = outer_quantile(p[i]);
}
