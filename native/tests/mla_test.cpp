// mla_attention over a latent cache in BF16, on the tensor cores that the emulator has: against the definition in
// double on the same rounded inputs, and bit for bit against itself under other schedules, in other batches and orders.
#include <algorithm>
#include <cstddef>
#include <numeric>

#include "check.hpp"
#include "numbers.hpp"

namespace {

using check::Device;
using check::expect;
using panamoe::cuda::bf16_to_float;
using panamoe::cuda::float_to_bf16;

constexpr int32_t C = 512, R = 64, X = C + R, B = 64;
constexpr uint16_t kNaN = 0x7fc0;

size_t area(int64_t a, int64_t b) { return static_cast<size_t>(a * b); }

// Requests of these lengths; their last rows_of_each positions are rows of the call. Pages lie in no order, and all
// that no row may look at is NaN, or in the table -1.
struct Given {
    int32_t H, A, M, page_count;
    std::vector<uint16_t> pages;
    std::vector<int32_t> table_AM, request_T, position_T;
    std::vector<float> q_THX;
    float scale = 0.1f;

    Given(const std::vector<int32_t> &lengths, int32_t rows_of_each, int32_t H, uint64_t seed, int32_t more_pages = 1)
        : H(H), A(static_cast<int32_t>(lengths.size())) {
        check::Random random(seed);
        M = (*std::max_element(lengths.begin(), lengths.end()) + B - 1) / B + more_pages;
        page_count = 2;
        for (int32_t length : lengths) page_count += (length + B - 1) / B;
        std::vector<int32_t> order(static_cast<size_t>(page_count));
        std::iota(order.begin(), order.end(), 0);
        for (int32_t i = page_count - 1; i > 0; i--)
            std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.below(i + 1))]);
        pages.assign(area(page_count, B * X), kNaN);
        table_AM.assign(area(A, M), -1);
        size_t next = 0;
        for (int32_t a = 0; a < A; a++) {
            int32_t length = lengths[static_cast<size_t>(a)];
            for (int32_t m = 0; m * B < length; m++) table_AM[area(a, M) + static_cast<size_t>(m)] = order[next++];
            for (int32_t s = 0; s < length; s++) {
                size_t row = row_of(a, s);
                for (size_t x = 0; x < X; x++) pages[row + x] = float_to_bf16(random.normal());
            }
            for (int32_t s = std::max(0, length - rows_of_each); s < length; s++) {
                request_T.push_back(a);
                position_T.push_back(s);
            }
        }
        q_THX = random.normals(int64_t{T()} * H * X);
    }

    int32_t T() const { return static_cast<int32_t>(request_T.size()); }
    size_t row_of(int32_t request, int32_t position) const {
        int32_t page = table_AM[area(request, M) + static_cast<size_t>(position / B)];
        return area(int64_t{page} * B + position % B, X);
    }

    // The call's rows in another order, or some of them.
    Given rows(const std::vector<size_t> &chosen) const {
        Given part = *this;
        part.request_T.clear();
        part.position_T.clear();
        part.q_THX.clear();
        for (size_t t : chosen) {
            part.request_T.push_back(request_T[t]);
            part.position_T.push_back(position_T[t]);
            auto q = q_THX.begin() + static_cast<std::ptrdiff_t>(t * area(H, X));
            part.q_THX.insert(part.q_THX.end(), q, q + H * X);
        }
        return part;
    }
};

constexpr float kUntouched = -7;

// o_THC, and what the context says: "" where all is well.
std::vector<float> attend(const Given &given, uint64_t seed, std::string *error = nullptr) {
    check::Context context("math=tensor seed=" + std::to_string(seed));
    expect(context.status == PM_OK, "open: %s", context.error());
    Device<float> o(context, std::vector<float>(area(int64_t{given.T()} * given.H, C), kUntouched));
    Device<float> q(context, given.q_THX);
    Device<uint16_t> pages(context, given.pages);
    Device<int32_t> table(context, given.table_AM), request(context, given.request_T),
        position(context, given.position_T);
    context.ok(pm_mla_attention(context, o, q, PM_F32, pages, PM_CACHE_BF16, table, request, position, given.scale,
                                given.T(), given.H, C, R, given.A, given.M, B, given.page_count),
               "mla_attention");
    int32_t status = pm_synchronize(context);
    expect((status == PM_OK) == (error == nullptr), "synchronize: %s", context.error());
    if (error != nullptr) *error = context.error();
    return o.host();
}

// By the definition, on q rounded to bf16.
std::vector<double> reference(const Given &given, size_t t) {
    std::vector<double> o(area(given.H, C));
    std::vector<double> score(static_cast<size_t>(given.position_T[t]) + 1);
    for (size_t h = 0; h < static_cast<size_t>(given.H); h++) {
        double most = -INFINITY, total = 0;
        for (size_t s = 0; s < score.size(); s++) {
            size_t row = given.row_of(given.request_T[t], static_cast<int32_t>(s));
            double dot = 0;
            for (size_t x = 0; x < X; x++)
                dot +=
                    double{bf16_to_float(float_to_bf16(given.q_THX[(t * static_cast<size_t>(given.H) + h) * X + x]))} *
                    bf16_to_float(given.pages[row + x]);
            score[s] = dot * given.scale;
            most = std::max(most, score[s]);
        }
        for (double &each : score) total += each = std::exp(each - most);
        for (size_t s = 0; s < score.size(); s++) {
            size_t row = given.row_of(given.request_T[t], static_cast<int32_t>(s));
            for (size_t c = 0; c < C; c++) o[h * C + c] += score[s] / total * bf16_to_float(given.pages[row + c]);
        }
    }
    return o;
}

// Shares are rounded to bf16, 2^-9 of each at most and of either sign: an element is a mean of values of about 1, most
// of them up to 4. The mean of the errors is far below that.
void expect_reference(const Given &given, const std::vector<float> &actual, const std::string &what) {
    double product = 0, squares = 0, largest = 0;
    size_t width = area(given.H, C);
    for (size_t t = 0; t < static_cast<size_t>(given.T()); t++) {
        std::vector<double> expected = reference(given, t);
        for (size_t i = 0; i < width; i++) {
            double e = expected[i], a = double{actual[t * width + i]};
            product += 2 * e * a;
            squares += e * e + a * a;
            largest = std::max(largest, std::isnan(a) ? INFINITY : std::fabs(e - a));
        }
    }
    double difference = 1 - product / squares;
    expect(difference < 5e-6, "%s: cos_diff %.3g", what.c_str(), difference);
    expect(largest < 8e-3, "%s: an element is off by %.3g", what.c_str(), largest);
    std::printf("%-44s cos_diff %8.2g, largest error %.2g\n", what.c_str(), difference, largest);
}

void expect_right(const Given &given, int seeds, const std::string &what) {
    std::vector<float> first = attend(given, 1);
    expect_reference(given, first, what);
    for (int seed = 2; seed <= seeds; seed++)
        check::expect_same_bits(first, attend(given, static_cast<uint64_t>(seed)),
                                what + ", seed " + std::to_string(seed));
}

void lengths() {
    expect_right(Given({1, 2, 63, 64, 65, 127, 128, 129, 130, 200}, 1, 3, 1), 8, "short, 3 heads");
    expect_right(Given({1024, 1025, 1200, 70}, 1, 3, 2), 3, "around a span, 3 heads");
    expect_right(Given({2300}, 2, 1, 3), 3, "three spans, 1 head");
    // A page of a wide table is an empty span.
    expect_right(Given({130, 1030}, 1, 2, 4, 100), 3, "a wide table, 2 heads");
}

void heads() {
    for (int32_t H : {1, 3, 16, 63, 64, 65, 126, 128})
        expect_right(Given({1, 65, 192}, 1, H, static_cast<uint64_t>(H)), 3, std::to_string(H) + " heads");
}

// The rows of a draft: consecutive positions of one request, over a page's end too.
void drafts() { expect_right(Given({66, 5, 1027}, 8, 4, 5), 3, "8 rows of each request, 4 heads"); }

void batches() {
    Given given({130, 1, 65, 1100}, 2, 5, 6);
    std::vector<float> all = attend(given, 1);
    std::vector<size_t> order(static_cast<size_t>(given.T()));
    std::iota(order.rbegin(), order.rend(), size_t{0});
    size_t width = area(given.H, C);
    auto expect_part = [&](const std::vector<size_t> &chosen, const std::string &what) {
        std::vector<float> part = attend(given.rows(chosen), 2), expected;
        for (size_t t : chosen)
            expected.insert(expected.end(), all.begin() + static_cast<std::ptrdiff_t>(t * width),
                            all.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
        check::expect_same_bits(expected, part, what);
    };
    expect_part(order, "reversed");
    for (size_t t : order) expect_part({t}, "row " + std::to_string(t) + " alone");
    expect_part({}, "no rows");
}

// NaN and infinities stay with the head, or with the rows, that they belong to.
void not_finite() {
    Given given({70, 100}, 2, 3, 7);
    std::vector<float> before = attend(given, 1);
    size_t width = area(given.H, C);
    given.q_THX[area(1, X) + 5] = NAN;             // row 0, head 1
    given.q_THX[area(3 + 2, X) + 100] = INFINITY;  // row 1, head 2
    given.pages[given.row_of(1, 99) + 3] = kNaN;   // row 3 alone looks at it
    std::vector<float> after = attend(given, 1);
    for (size_t i = 0; i < after.size(); i++) {
        size_t t = i / width, h = i % width / C;
        bool bad = (t == 0 && h == 1) || (t == 1 && h == 2) || t == 3;
        expect(bad ? std::isnan(after[i]) : after[i] == before[i], "row %zu, head %zu, column %zu is %g", t, h, i % C,
               double{after[i]});
    }
}

// One key leads by far, at any place.
void huge_scores() {
    Given given({200, 1100}, 1, 3, 8);
    given.scale = 100;
    expect_right(given, 2, "huge scores");
}

// A bad index leaves its row alone, and is told.
void bad_indices() {
    Given good({130, 65, 70}, 1, 3, 9);
    std::vector<float> before = attend(good, 1);
    size_t width = area(good.H, C);
    auto expect_refused = [&](const Given &given, size_t row, const std::string &text) {
        std::string error;
        std::vector<float> after = attend(given, 1, &error);
        expect(error == text, "error is \"%s\", should be \"%s\"", error.c_str(), text.c_str());
        for (size_t i = 0; i < after.size(); i++)
            expect(after[i] == (i / width == row ? kUntouched : before[i]), "element %zu is %g", i, double{after[i]});
    };
    Given given = good;
    given.table_AM[1] = given.page_count;
    expect_refused(given, 0,
                   "mla_attention: table_AM[0][1] is " + std::to_string(given.page_count) + ", page_count is " +
                       std::to_string(given.page_count));
    given = good;
    given.position_T[2] = given.M * B;
    expect_refused(
        given, 2,
        "mla_attention: position_T[2] is " + std::to_string(given.M * B) + ", M * B is " + std::to_string(given.M * B));
    given = good;
    given.request_T[1] = -1;
    expect_refused(given, 1, "mla_attention: request_T[1] is -1, A is 3");
}

}  // namespace

int main(int argc, char **argv) {
    return check::run(argc, argv,
                      {{"lengths", lengths},
                       {"heads", heads},
                       {"drafts", drafts},
                       {"batches", batches},
                       {"not_finite", not_finite},
                       {"huge_scores", huge_scores},
                       {"bad_indices", bad_indices}});
}
